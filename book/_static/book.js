/* Previews of terms, equations and figures; keyboard access to what scrolls; printing. No page depends on it. */
(() => {
  "use strict";
  const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
  const article = document.querySelector(".bd-article");
  if (!article) return;

  /* What scrolls can be reached by keyboard; what does not scroll is no stop on the way. */
  const boxes = article.querySelectorAll(".scroll, .formula, pre");
  const reach = () => {
    const wide = [...boxes].map((box) => box.scrollWidth > box.clientWidth + 1);
    boxes.forEach((box, i) => {
      if (!wide[i]) return box.removeAttribute("tabindex");
      box.tabIndex = 0;
      if (box.dataset.name) {
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", box.dataset.name);
      }
    });
  };
  new ResizeObserver(reach).observe(article);

  /* Previews */
  const here = location.href.replace(/[?#].*/, "");
  let stored; // the definitions and equations of other pages, read when first asked for
  const others = () =>
    (stored ||= new Promise((resolve) => {
      const script = document.createElement("script");
      script.src = new URL("_static/previews.js", root);
      script.onload = () => resolve(window.bookPreviews);
      script.onerror = () => resolve({});
      document.head.append(script);
    }));

  const onThisPage = (id) => {
    let target = document.getElementById(id);
    if (!target) return null;
    if (target.matches("dt")) return `<strong>${target.textContent.replace("#", "")}</strong> ${target.nextElementSibling.innerHTML}`;
    if (target.matches(".math, .exercise")) return target.innerHTML;
    return (target.closest("figure") || target.querySelector("figure, table"))?.outerHTML;
  };

  const contentOf = async (link) => {
    const [page, id] = link.href.split("#");
    if (!id) return null;
    if (page === here) return onThisPage(decodeURIComponent(id));
    return (await others())[link.href.slice(root.href.length)];
  };

  const box = document.createElement("div");
  box.className = "preview bd-article";
  box.id = "preview";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  document.body.append(box);
  let shownFor = null;
  let timer;

  const hide = () => {
    clearTimeout(timer);
    box.hidden = true;
    shownFor?.removeAttribute("aria-describedby");
    shownFor = null;
  };

  const show = async (link) => {
    clearTimeout(timer); // of a pointer that has just left: it must not hide what the keyboard asked for
    shownFor = link;
    const html = await contentOf(link);
    if (!html || shownFor !== link) return;
    box.innerHTML = html;
    for (const tag of box.querySelectorAll("[id]")) tag.removeAttribute("id");
    for (const tag of box.querySelectorAll("a")) tag.replaceWith(...(tag.matches(".headerlink") ? [] : tag.childNodes));
    box.hidden = false;
    // Within the page, not the window: a focus that scrolls must not leave its preview behind.
    const at = link.getBoundingClientRect();
    const size = box.getBoundingClientRect();
    const below = at.bottom + 8;
    box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 12))}px`;
    box.style.top = `${scrollY + (below + size.height < innerHeight ? below : Math.max(8, at.top - size.height - 8))}px`;
    link.setAttribute("aria-describedby", "preview");
  };

  const linkOf = (event) => event.target.closest?.("a.reference.internal[href*='#']");
  article.addEventListener("pointerover", (event) => {
    const link = event.pointerType === "mouse" && linkOf(event);
    if (!link || link === shownFor) return;
    hide();
    timer = setTimeout(show, 120, link);
  });
  article.addEventListener("pointerout", (event) => {
    if (linkOf(event) && !box.contains(event.relatedTarget)) timer = setTimeout(hide, 120);
  });
  box.addEventListener("pointerover", () => clearTimeout(timer));
  box.addEventListener("pointerleave", hide);
  article.addEventListener("focusin", (event) => {
    const link = linkOf(event);
    if (link?.matches(":focus-visible")) show(link);
  });
  article.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());

  /* Printing: light colours, answers open; afterwards everything as it was. */
  let before;
  addEventListener("beforeprint", () => {
    const folded = [...article.querySelectorAll("details:not([open], .hide)")];
    before = { theme: document.documentElement.dataset.theme, folded };
    document.documentElement.dataset.theme = "light";
    folded.forEach((details) => (details.open = true));
  });
  addEventListener("afterprint", () => {
    if (!before) return;
    document.documentElement.dataset.theme = before.theme;
    before.folded.forEach((details) => (details.open = false));
    before = undefined;
  });
})();
