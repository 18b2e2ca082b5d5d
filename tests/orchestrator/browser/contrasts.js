// The contrast of each piece of text that is seen, by the formula of the Web Content Accessibility Guidelines 2.
// Evaluates to [{text, contrast, colour, paper}].
(() => {
    const parsed = colour => {
        const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
        return [red, green, blue, alpha];
    };
    const over = ([red, green, blue, alpha], below) =>
        [red, green, blue].map((value, i) => value * alpha + below[i] * (1 - alpha));
    const luminance = colour => {
        const [red, green, blue] = colour.map(value => {
            const share = value / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const ancestors = element => element ? [...ancestors(element.parentElement), element] : [];
    const paperOf = element => ancestors(element).reduce(
        (below, one) => over(parsed(getComputedStyle(one).backgroundColor), below), [255, 255, 255]);
    const opacityOf = element => ancestors(element).reduce(
        (product, one) => product * parseFloat(getComputedStyle(one).opacity), 1);
    const seen = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        // A title in a picture is read aloud and shown in a box of the browser's own.
        if (!text || !element.checkVisibility() || element.matches('svg title, svg desc')) continue;
        const style = getComputedStyle(element);
        const paper = paperOf(element);
        const [red, green, blue, alpha] = parsed(element.closest('svg') ? style.fill : style.color);
        const colour = over([red, green, blue, alpha * opacityOf(element)], paper);
        const [darker, lighter] = [luminance(colour), luminance(paper)].sort((a, b) => a - b);
        seen.push({text: text.slice(0, 60), contrast: (lighter + 0.05) / (darker + 0.05), colour, paper});
    }
    return seen;
})()
