/* A list of which only what can be seen is in the page: rows of one height, however many there are. */

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor-preact-htm.js";

const BEYOND = 4;

/** The rows that can be seen, as [first, last), where the list is scrolled to `top`. Pure. */
export function span(total, top, height, tall) {
  const first = Math.max(0, Math.floor(top / tall) - BEYOND);
  return [first, Math.min(total, Math.ceil((top + height) / tall) + BEYOND)];
}

/** Arguments: `items`; `tall`, pixels a row; `chosen`, the place of the chosen item or -1; `draw(item, place)`;
    `onScroll(top)`; `label`. */
export function List({ items, tall, chosen, draw, onScroll, label, id }) {
  const box = useRef(null), [view, setView] = useState([0, 600]);
  const measure = () => box.current && setView([box.current.scrollTop, box.current.clientHeight]);
  useEffect(() => {
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    const { scrollTop, clientHeight } = box.current, at = chosen * tall;
    if (chosen < 0) return;
    if (at < scrollTop) box.current.scrollTop = at;
    else if (at + tall > scrollTop + clientHeight) box.current.scrollTop = at + tall - clientHeight;
  }, [chosen, tall]);
  const scrolled = () => {
    measure();
    onScroll?.(box.current.scrollTop);
  };
  const [first, last] = span(items.length, view[0], view[1], tall);
  const active = chosen >= first && chosen < last ? `${id}-${chosen}` : undefined;
  return html`<div class="list" ref=${box} onScroll=${scrolled} role="listbox" tabindex="0" aria-label=${label} aria-activedescendant=${active} id=${id}>
    <div class="tall" role="presentation" style=${{ height: `${items.length * tall}px` }}>
      ${items.slice(first, last).map((item, place) => html`<div key=${item.key ?? item.number} class="row ${item.kind} ${first + place === chosen ? "chosen" : ""}"
        id=${`${id}-${first + place}`} role="option" aria-selected=${first + place === chosen} aria-setsize=${items.length} aria-posinset=${first + place + 1}
        style=${{ transform: `translateY(${(first + place) * tall}px)`, height: `${tall}px` }}>${draw(item, first + place)}</div>`)}
    </div></div>`;
}
