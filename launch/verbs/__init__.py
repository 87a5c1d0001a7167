"""The verbs of the command line, one file each: `add_parser` declares its arguments, `execute` returns an exit code.

A verb imports what it needs inside `execute`, so that `posttrain --help` answers at once. A new verb is a file here and
its entry in `VERBS`, which is also the order of the help text.
"""

from launch.verbs import clean, data, lineage, plan, report, run, schema, status

VERBS = (run, plan, data, status, lineage, schema, report, clean)
