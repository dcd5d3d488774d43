// How the search of these pages orders its results: how-to pages first; the pages for
// people who change the package, and the list of changes, last. `search_order.py` reads
// the numbers and refuses a build whose twelve searches lead elsewhere.
var Scorer = {
  // The first pattern that matches the name of a page counts: [pattern, factor, summand].
  pages: [
    ["^(howto/|quickstart$)", 1, 8],
    ["^(changelog|contributing|explanation/(decisions|glossary))$", 0.05, -20],
    ["^explanation/(architecture|performance|runtime|storage)$", 0.1, -10],
    ["^explanation/", 0.5, 0],
    ["^", 1, 0]
  ],
  score: (result) => {
    const [, factor, summand] = Scorer.pages.find(([page]) => result[0].match(page));
    return result[4] * factor + summand;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {"0": 0, "1": 0, "2": -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
