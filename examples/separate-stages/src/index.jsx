import React, { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const teas = { Sencha: 90, Assam: 180, Camomile: 360 };

function Timer({ seconds }) {
  const [left, setLeft] = useState(seconds);
  useEffect(() => {
    const tick = setInterval(() => setLeft((n) => Math.max(0, n - 1)), 1000);
    return () => clearInterval(tick);
  }, []);
  return <p>{left ? `${left} seconds to go` : "Tea is ready"}</p>;
}

function App() {
  const [tea, setTea] = useState(null);
  return (
    <main>
      <h1>Tea timer</h1>
      {Object.keys(teas).map((name) => (
        <button key={name} onClick={() => setTea(name)}>{name}</button>
      ))}
      {tea && <Timer key={tea} seconds={teas[tea]} />}
    </main>
  );
}

createRoot(document.getElementById("root")).render(<App />);
