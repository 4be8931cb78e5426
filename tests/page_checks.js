// Returns what of a page cannot be read: text that is too small or too faint, content that is too wide.
(() => {
  const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255, v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const background = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (!text || !box.width || element.closest("script, style, noscript")) continue;
    const style = getComputedStyle(element), svg = element.ownerSVGElement;
    const size = parseFloat(style.fontSize) * (svg ? element.getScreenCTM().a : 1);
    if (size < 11) found.push(`${size} px: ${text}`);
    const ink = parse(svg ? style.fill : style.color), behind = background(element);
    if (contrast(ink.slice(0, 3), behind) < 4.5) found.push(`${ink} on ${behind}: ${text}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push(`page ${document.documentElement.scrollWidth} px wide`);
  return found;
})()
