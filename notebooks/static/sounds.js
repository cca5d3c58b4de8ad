// One sound at a time: what begins to play stops all others on the page.
document.addEventListener('play', (event) => {
  for (const audio of document.querySelectorAll('audio')) {
    if (audio !== event.target) audio.pause();
  }
}, true);
