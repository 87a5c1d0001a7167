"""The verbs of the command line, one file each: `add_parser` declares its arguments, `execute` returns an exit code.

A verb imports what it needs inside `execute`, so that `posttrain --help` answers at once. A new verb is a file here and
its entry in `VERBS`, which is also the order of the help text.
"""

from launch.verbs import (
    cancel,
    card,
    chat,
    clean,
    compare,
    dashboard,
    data,
    doctor,
    lineage,
    plan,
    publish,
    rehearse,
    report,
    rewards,
    run,
    schema,
    serve,
    status,
    submit,
    sweep,
    sync,
)

VERBS = (
    run,
    plan,
    doctor,
    data,
    rewards,
    rehearse,
    sweep,
    submit,
    status,
    cancel,
    compare,
    lineage,
    schema,
    report,
    card,
    sync,
    dashboard,
    chat,
    serve,
    publish,
    clean,
)
