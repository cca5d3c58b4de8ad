// What modules import of elements.js, vector.js and alone.js, which other pages hold inside.
export { alone, make, mark, put, shade, svg };
