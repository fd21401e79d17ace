const express = require("express");

const app = express();
app.get("/health", (request, response) => response.send("ok\n"));
app.use(express.static("build"));
app.listen(3000);
