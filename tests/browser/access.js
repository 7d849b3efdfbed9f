// What would keep somebody out of the page, as a list of "rule: element"; empty when nothing would.
// Runs on the page as it is painted. It cannot know whether words are good, only that they are there.
() => {
  const found = [];
  const say = (rule, e) => found.push(`${rule}: ${e.outerHTML.slice(0, 120)}`);
  const all = selector => [...document.querySelectorAll(selector)];
  const text = e => (e.textContent || '').trim();
  const name = e => (e.getAttribute('aria-label')
    || (e.getAttribute('aria-labelledby') || '').split(' ').map(id => text(document.getElementById(id) || e)).join(' ')
    || (e.caption && text(e.caption)) || '').trim();

  // WCAG 1.4.3 and 1.4.11: contrast with what is really behind, colours of all ancestors laid over each other
  const parse = c => { const [r, g, b, a = 1] = c.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  const behind = e => { const layers = [];
    for (; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]); };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(
    v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const faded = e => { let part = 1; for (; e; e = e.parentElement) part *= +getComputedStyle(e).opacity; return part; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || seen.has(e) || !e.checkVisibility()) continue;
    seen.add(e);
    const style = getComputedStyle(e);
    const [r, g, b, a] = parse(e instanceof SVGElement ? style.fill : style.color);
    const large = parseFloat(style.fontSize) >= (+style.fontWeight >= 700 ? 18.66 : 24);
    const ground = behind(e);
    if (ratio(over([r, g, b, a * faded(e)], ground), ground) < (large ? 3 : 4.5)) say('contrast', e);
  }
  for (const e of all('svg:not([aria-hidden=true]) rect, .key')) {
    const style = getComputedStyle(e), ground = behind(e.parentElement);
    const colours = e instanceof SVGElement ? [style.fill, style.stroke] : [style.backgroundColor, style.outlineColor];
    if (!colours.some(c => c !== 'none' && ratio(over(parse(c), ground), ground) >= 3)) say('faint shape', e);
  }

  // 1.1.1, 2.4.4, 4.1.2: what has no name cannot be spoken of, and equal names cannot be told apart
  const regions = new Set();
  for (const e of all('svg, img, [role], [tabindex]')) {
    if (e.getAttribute('aria-hidden') === 'true') continue;
    const called = name(e) || e.getAttribute('alt') || '';
    if (!called || (e.hasAttribute('tabindex') && regions.has(called))) say('name', e);
    regions.add(called);
  }
  for (const e of all('a, summary, button')) if (!text(e)) say('name', e);

  // 1.3.1: headings without gaps, tables with headers and a name, lists of items only
  let last = 0;
  for (const e of all('h1, h2, h3, h4, h5, h6')) {
    const level = +e.tagName[1];
    if (level > last + 1 || !text(e)) say('heading', e);
    last = level;
  }
  if (all('h1').length !== 1) say('heading', document.body);
  for (const e of all('table')) {
    const ahead = e.closest('[aria-label], [aria-labelledby]') || /^H\d$|^P$/.test(e.previousElementSibling?.tagName || '');
    if (!name(e) && !ahead) say('table', e);
    if (new Set([...e.rows].filter(row => row.cells[0]?.scope !== 'rowgroup').map(row => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0))).size > 1) say('table', e);
  }
  for (const e of all('th')) if (!e.scope || !text(e)) say('header', e);
  for (const e of all('ul > :not(li), ol > :not(li), dl > :not(dt):not(dd), dl:empty')) say('list', e);

  // 2.4.1 and 3.1.1: landmarks, language, title; 4.1.1: ids; 1.4.4: it may be enlarged
  if (all('main').length !== 1) say('landmark', document.body);
  for (const e of document.body.children) if (!e.matches('main, header, footer, nav')) say('landmark', e);
  if (!document.documentElement.lang || !document.title.trim()) say('document', document.head);
  const ids = all('[id]').map(e => e.id);
  if (new Set(ids).size < ids.length) say('id', document.body);
  const zoom = document.querySelector('meta[name=viewport]')?.content || '';
  if (/user-scalable=no|maximum-scale/.test(zoom)) say('zoom', document.head);

  // 2.1.1 and 2.4.3: what scrolls can be reached by keyboard, in the order in which it stands
  for (const e of all('body *')) {
    const scrolls = /auto|scroll/.test(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1;
    if ((scrolls && e.tabIndex < 0) || e.tabIndex > 0) say('keyboard', e);
  }
  // 1.4.10: no scrolling sideways
  if (document.documentElement.scrollWidth > innerWidth) say('reflow', document.body);
  return found;
}
