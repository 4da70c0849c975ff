// Small things about the document that several modules need.

// Put another symbol of icons.svg into the element's icon.
export function setIcon(element, name) {
  const use = element.querySelector("svg use");
  if (use) use.setAttribute("href", use.getAttribute("href").replace(/#.*$/, "#" + name));
}

// An element with a class and text.
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
