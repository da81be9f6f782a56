"use strict";
// Without this script, or where the browser has no clipboard, the texts are selected and copied by hand.
for (const block of navigator.clipboard ? document.querySelectorAll("pre[data-copy]") : []) {
  const button = document.createElement("button");
  const said = document.createElement("span");
  const line = document.createElement("p");
  button.type = "button";
  button.textContent = `Copy ${block.dataset.copy}`;
  said.setAttribute("role", "status");
  line.className = "copying";
  line.append(button, " ", said);
  block.after(line);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.textContent);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(block);
      said.textContent = "Selected; copy it with your keyboard.";
    }
  });
}
