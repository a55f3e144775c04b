export { RunBook } from './run-book.ts'
export { runOffers } from './run-offers.ts'
export { RunTaker } from './run-taker.ts'
