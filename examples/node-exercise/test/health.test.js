const { test } = require("node:test");
const assert = require("node:assert");
const { existsSync } = require("node:fs");
const { spawn } = require("node:child_process");

test("the frontend is built", () => {
  assert.ok(existsSync("build/index.js"));
});

test("the server is healthy", async () => {
  const server = spawn(process.execPath, ["server/index.js"], { stdio: "inherit" });
  try {
    let answer;
    for (let n = 0; n < 50 && !answer; n++) {
      await new Promise((done) => setTimeout(done, 100));
      answer = await fetch("http://127.0.0.1:3000/health").catch(() => undefined);
    }
    assert.strictEqual(await answer.text(), "ok\n");
  } finally {
    server.kill();
  }
});
