import Glibc
import Testing

@testable import Syscalls

@Suite struct InotifyTests {
  private func record(_ watch: Int32, _ mask: UInt32, _ name: String, padding: Int = 0, length: UInt32? = nil)
    -> [UInt8]
  {
    var out: [UInt8] = []
    let text = Array(name.utf8) + [UInt8](repeating: 0, count: padding)
    let words: [UInt32] = [UInt32(bitPattern: watch), mask, 0, length ?? UInt32(text.count)]
    for word in words {
      withUnsafeBytes(of: word) { out.append(contentsOf: $0) }
    }
    return out + text
  }

  @Test func parsesRecords() {
    let bytes = record(3, 0x80, "10.3.4.0-24", padding: 5) + record(1, 0x400, "") + record(-1, 0x4000, "")
    #expect(
      Inotify.Event.parse(bytes.span) == [
        Inotify.Event(watch: 3, mask: .movedTo, name: "10.3.4.0-24"),
        Inotify.Event(watch: 1, mask: .selfDeleted, name: ""),
        Inotify.Event(watch: -1, mask: .overflow, name: ""),
      ])
  }

  @Test func damagedRecordsCountAsOverflow() {
    let lost = Inotify.Event(watch: -1, mask: .overflow, name: "")
    let good = record(3, 0x80, "a", padding: 15)
    for n in 1..<good.count { #expect(Inotify.Event.parse(Array(good.prefix(n)).span) == [lost]) }
    #expect(Inotify.Event.parse(record(3, 0x80, "a", length: .max).span) == [lost])
    #expect(Inotify.Event.parse([UInt8]().span).isEmpty)
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...60)).map { _ in
        UInt8.random(in: 0...255) & [0, 1, 31, 255][Int.random(in: 0...3)]
      }
      _ = Inotify.Event.parse(bytes.span)
    }
  }

  @Test func reportsFiles() throws {
    let directory = "/tmp/weft-inotify-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    try Files.makeDirectory(directory)
    defer { try? Files.removeTree(directory) }
    let inotify = try Inotify()
    var buffer = [UInt8](repeating: 0, count: 4096)
    let watch = try inotify.add(directory, [.movedTo, .deleted, .onlyDirectory])
    #expect(try inotify.read(into: &buffer).isEmpty)
    try Files.writeAtomically(Array("x".utf8), to: directory + "/name", mode: 0o644)
    try Files.remove(directory + "/name")
    #expect(
      try inotify.read(into: &buffer) == [
        Inotify.Event(watch: watch, mask: .movedTo, name: "name"),
        Inotify.Event(watch: watch, mask: .deleted, name: "name"),
      ])
    inotify.remove(watch)
    inotify.remove(watch)
    #expect(try inotify.read(into: &buffer).map(\.mask) == [.ignored])
    let error = #expect(throws: SystemError.self) { try inotify.add(directory + "/none", [.created]) }
    #expect(error?.description == "watch \(directory)/none: no such file or directory")
  }
}
