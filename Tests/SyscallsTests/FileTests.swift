import Glibc
import Syscalls
import Testing

@Suite struct FileTests {
  let directory: String
  init() throws {
    directory = "/tmp/weft-files-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    try Files.makeDirectory(directory)
  }

  @Test func writesAtomicallyWithExactMode() throws {
    let path = directory + "/a/b/c"
    try Files.makeDirectory(directory + "/a/b")
    let old = umask(0o077)
    try Files.writeAtomically(Array("one".utf8), to: path, mode: 0o644)
    umask(old)
    #expect(try Files.text(path) == "one")
    #expect(try Files.status(path).permissions == 0o644)
    try Files.writeAtomically(Array("two".utf8), to: path, mode: 0o600)
    #expect(try Files.text(path) == "two")
    #expect(throws: SystemError.self) {
      try Files.writeAtomically(Array("three".utf8), to: path, mode: 0o600, exclusive: true)
    }
    #expect(try Files.text(path) == "two")
    #expect(try Files.list(directory + "/a/b") == ["c"], "no temporary file is left")
    try Files.removeTree(directory)
    #expect(!Files.exists(directory))
  }

  @Test func errorsNameOperationAndPath() throws {
    let error = #expect(throws: SystemError.self) { try Files.read("/nonexistent/x") }
    #expect(error?.description == "open /nonexistent/x: no such file or directory")
    try Files.removeTree(directory)
  }

  @Test func readsOnlyRegularFiles() throws {
    let path = directory + "/pipe"
    #expect(unsafe mkfifo(path, 0o600) == 0)
    let pipe = #expect(throws: SystemError.self) { try Files.read(path) }
    #expect(pipe?.description == "read (no regular file) \(path): invalid argument")
    let folder = #expect(throws: SystemError.self) { try Files.read(directory) }
    #expect(folder?.description == "read \(directory): is a directory")
    #expect(try Files.text("/proc/self/stat").contains(")"))
    try Files.removeTree(directory)
  }

  /// The kernel would take the part before the NUL byte.
  @Test func pathsWithNULAreRefused() throws {
    let path = directory + "\u{0}x"
    func refused(_ call: () throws -> Void) {
      let error = #expect(throws: SystemError.self) { try call() }
      #expect(error?.errno == .invalid)
    }
    refused { _ = try Files.read(path) }
    refused { _ = try Files.list(path) }
    refused { _ = try Files.status(path) }
    refused { try Files.makeDirectory(path) }
    refused { try Files.remove(path) }
    refused { try Files.removeTree(path) }
    refused { try Files.writeAtomically([1], to: path, mode: 0o600) }
    #expect(!Files.exists(path))
    #expect(Files.exists(directory))
    try Files.removeTree(directory)
  }

  @Test func runsPrograms() throws {
    let big = [UInt8](repeating: 7, count: 300_000)
    let out = try ChildProcess.run("/bin/cat", input: big)
    #expect(out.exit == .status(0) && out.stdout == big)
    #expect(try ChildProcess.run("/bin/ls", ["/nonexistent"]).exit == .status(2))
    #expect(throws: SystemError.self) { try ChildProcess.run("/nonexistent") }
    try Files.removeTree(directory)
  }

  @Test func locksExclude() throws {
    let a = try FileDescriptor.open(directory + "/lock", O_CREAT | O_RDWR, mode: 0o600)
    let b = try FileDescriptor.open(directory + "/lock", O_CREAT | O_RDWR, mode: 0o600)
    #expect(try a.tryLock())
    #expect(try !b.tryLock())
    try Files.removeTree(directory)
  }
}
