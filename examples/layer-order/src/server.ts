import express from "express";

const quotes: string[] = [
  "Simplicity is prerequisite for reliability.",
  "Make it work, make it right, make it fast.",
];

const app = express();
app.get("/quotes/:n", (request, response) => {
  const quote = quotes[Number(request.params.n)];
  if (quote === undefined) response.sendStatus(404);
  else response.type("text").send(quote + "\n");
});
app.listen(3000);
