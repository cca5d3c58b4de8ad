// Who takes part: somebody with a number of their own, or with an id in the page's address, as crowdsourcing
// platforms write it. An id becomes a number as in listening/answers.py. Needs seal.js.
const NUMBERS = 9999; // of participants who are given one; whoever has an id gets a larger one
const PLATFORMS = {
  prolific: { id: 'PROLIFIC_PID', study: 'STUDY_ID', session: 'SESSION_ID' },
  mturk: { id: 'workerId', study: 'hitId', session: 'assignmentId' },
  link: { id: 'participant' },
};

// A participant's number in a text, or null.
function numberIn(text) {
  return (/^\d{1,4}$/.test(text) && Number(text)) || null;
}

// Whom an address names: { participant, platform }, { wrong: what is wrong with the link }, or null for nobody.
function invited(search) {
  const given = new URLSearchParams(search);
  if (given.get('assignmentId') === 'ASSIGNMENT_ID_NOT_AVAILABLE') {
    return { wrong: 'This is a preview. Please accept the task first: then the test begins here.' };
  }
  const name = Object.keys(PLATFORMS).find((platform) => given.has(PLATFORMS[platform].id));
  if (!name) return null;
  const read = (field) => given.get(PLATFORMS[name][field]) ?? '';
  const number = numberIn(read('id'));
  if (name === 'link' && number) return { participant: number };
  const platform = { name, id: read('id'), study: read('study'), session: read('session') };
  const complete = /^[\w-]{1,64}$/.test(platform.id)
    && [platform.study, platform.session].every((text) => /^[\w-]{0,64}$/.test(text));
  if (!complete) {
    return { wrong: 'The link to this page is not complete: it does not say who you are. Please tell ' +
      'whoever sent it to you.' };
  }
  return { participant: NUMBERS + 1 + parseInt(sha256(`${name}:${platform.id}`).slice(0, 12), 16), platform };
}
