enliven(document);
