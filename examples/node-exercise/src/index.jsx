import React, { useState } from "react";
import { createRoot } from "react-dom/client";

function Counter() {
  const [n, setN] = useState(0);
  return <button onClick={() => setN(n + 1)}>Pressed {n} times</button>;
}

createRoot(document.getElementById("root")).render(<Counter />);
