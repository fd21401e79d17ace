import { roman } from "./roman";

console.log(roman(Number(process.argv[2] ?? 2026)));
