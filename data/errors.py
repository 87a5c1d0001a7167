"""The one exception that means "the user can fix this": every room raises it, `launch.cli` makes it exit code 2."""


class UserError(ValueError):
    """A mistake in config, data or machine; its message names what was found, what is accepted and the fix."""
