async function tick(clock: HTMLElement): Promise<void> {
  clock.textContent = `It is ${await (await fetch("/api/time")).text()} on the server`;
}

setInterval(tick, 1000, document.getElementById("clock")!);
