enliven();
});
