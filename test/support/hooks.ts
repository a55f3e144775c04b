import type { RootHookObject, Suite } from 'mocha'
import { judgeSeen } from './seen.ts'

/** A run of single files cannot have seen everything. */
const WHOLE_SUITES_MIN = 100

/** Root hooks: what a whole run has shown is judged at its end. */
export const mochaHooks: RootHookObject = {
  afterAll(this: Mocha.Context) {
    const root = this.test?.parent as Suite
    if (root.suites.length >= WHOLE_SUITES_MIN) judgeSeen()
  },
}
