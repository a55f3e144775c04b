#!/usr/bin/env node
// Plain JavaScript that any Node can read, so that an old one says so instead of a stack trace.
import { start } from './start.js'

await start('gateway')
