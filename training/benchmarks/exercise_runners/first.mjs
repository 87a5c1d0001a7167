// Inside the sandbox, loaded before the tests: a reporter of node:test that says the word once all tests have passed.
import { readFileSync } from "node:fs";

const word = readFileSync(0, "utf-8").trim();

export default async function* report(events) {
  let passed = 0, failed = 0;
  for await (const { type, data } of events) {
    if (type === "test:fail") {
      failed += 1;
      const cause = data.details?.error?.cause ?? data.details?.error;
      yield `not ok: ${data.name}\n${cause?.stack ?? cause ?? ""}\n`;
    } else if (type === "test:pass" && !data.skip && !data.todo) {
      passed += 1;
    }
  }
  yield `${passed} passed, ${failed} failed\n`;
  if (passed > 0 && failed === 0) yield `\n${word}\n`;
}
