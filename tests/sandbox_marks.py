"""For tests that run programs in the sandbox: where this machine cannot give it they skip, with the probe's reason."""

import pytest

from training.sandbox.levels import why_not

needs_sandbox = pytest.mark.skipif(why_not("namespaces") is not None, reason=f"no sandbox: {why_not('namespaces')}")
