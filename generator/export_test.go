package generator

// Decode is the part of Read that looks at shapes.
var Decode = decode
