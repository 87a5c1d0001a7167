"""`python -m launch` is `posttrain`, from a checkout."""

from launch.cli import entry

if __name__ == "__main__":
    entry()
