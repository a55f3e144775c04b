/** An open file of a log. */
export interface OpenLog {
  read(into: Buffer, at: number): Promise<number>
  size(): Promise<number>
  /** The number of the file on its disk; empty for a compressed one. */
  readonly inode: string
  close(): Promise<void>
}
