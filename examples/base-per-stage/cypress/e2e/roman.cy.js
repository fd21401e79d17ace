const assert = require("node:assert");
const test = require("node:test");
const { roman } = require("../../dist/roman.js");

test("subtracts before the next sign", () => assert.equal(roman(1994), "MCMXCIV"));
test("has no sign for nothing", () => assert.equal(roman(0), ""));
