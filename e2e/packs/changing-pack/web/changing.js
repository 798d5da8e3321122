// Something for the browser.
console.debug('changing-pack')
