// A page that is opened from disk may not read others: its search shows titles without excerpts, and asks
// for nothing in vain.
if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
