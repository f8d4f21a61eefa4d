// Numbers of modules that do not depend on the directory they are built in: the same sources, the same bytes.
module.exports = { optimization: { moduleIds: 'natural' } };
