"""Inside the sandbox: runs the test modules named and then says the word that came on standard input."""

import os
import sys
import unittest

WORD = sys.stdin.readline().strip()
TESTING = (unittest.TestCase, unittest.TestSuite, unittest.TestResult, unittest.TextTestRunner)


def methods() -> list[dict[str, object]]:
    return [dict(vars(each)) for each in TESTING]


def cases(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    return [case for each in suite for case in (cases(each) if isinstance(each, unittest.TestSuite) else [each])]


def is_skipped(case: unittest.TestCase) -> bool:
    method = getattr(case, case._testMethodName, None)
    return any(getattr(each, "__unittest_skip__", False) for each in (method, case))


before = methods()
sys.path.insert(0, os.getcwd())
suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
wanted, skipped = len(cases(suite)), sum(map(is_skipped, cases(suite)))
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
unskipped = result.testsRun == wanted > skipped == len(result.skipped)
if result.wasSuccessful() and unskipped and not result.expectedFailures and methods() == before:
    print(f"\n{WORD}")
else:
    sys.exit(1)
