"""The operator's console: pages in a browser by which a person watches and steers engines that run elsewhere."""
