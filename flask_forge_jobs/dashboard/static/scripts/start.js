enliven();
