interface Entry {
  name: string;
  text: string;
}

async function show(list: HTMLElement): Promise<void> {
  const entries: Entry[] = await (await fetch("/api/entries")).json();
  list.replaceChildren(...entries.map((entry) => {
    const item = document.createElement("li");
    item.textContent = `${entry.name} wrote: ${entry.text}`;
    return item;
  }));
}

show(document.getElementById("entries")!);
