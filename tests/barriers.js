// What axe-core finds serious or critical on the page: rule, place and reason.
async () => {
  const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
  return violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => (
      `${id} at ${target.join(' ')}: ${failureSummary.split('\n')[1]?.trim()}`)));
}
