// Buttons play the one copy of a track's sound; starting one sound stops the others.
const buttons = [...document.querySelectorAll("button.play")];
const players = [...document.querySelectorAll("audio")];
const show = (player, playing) => {
  for (const button of buttons) {
    if (button.dataset.plays === player.id) {
      button.classList.toggle("playing", playing);
      button.setAttribute("aria-pressed", String(playing));
    }
  }
};
for (const player of players) {
  player.addEventListener("play", () => {
    players.filter((other) => other !== player).forEach((other) => other.pause());
    show(player, true);
  });
  player.addEventListener("pause", () => show(player, false));
}
for (const button of buttons) {
  button.addEventListener("click", () => {
    const player = document.getElementById(button.dataset.plays);
    if (player.paused) {
      player.currentTime = 0;
      player.play();
    } else {
      player.pause();
    }
  });
}
