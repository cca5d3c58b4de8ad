// What modules import of elements.js and vector.js, which other pages hold inside.
export { make, svg };
