// Verifies deliveries with the stock JavaScript library. In: a JSON list of {secret, headers, body (base64)} on standard
// input. Out: a JSON list, for each null where it verified, else the name of the error.
const Module = require("module");
const path = require("path");
const vendored = path.join(__dirname, "..", "vendored", "standardwebhooks");
const files = { "@stablelib/base64": "base64.js", "fast-sha256": "sha256.js" };
const resolve = Module._resolveFilename;
Module._resolveFilename = (name, ...rest) =>
  files[name] ? path.join(vendored, files[name]) : resolve(name, ...rest);
const { Webhook } = require(path.join(vendored, "standardwebhooks.js"));
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
const verdicts = cases.map(({ secret, headers, body }) => {
  try {
    new Webhook(secret).verify(Buffer.from(body, "base64").toString("utf8"), headers);
    return null;
  } catch (error) {
    return error.name;
  }
});
process.stdout.write(JSON.stringify(verdicts));
