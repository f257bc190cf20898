import Glibc
import Logging
import Syscalls
import Testing

@testable import Agent

@Suite struct KlogHandlerTests {
  @Test func linesHaveKlogsForm() throws {
    let pipe = try Pipe()
    let handler = KlogHandler(descriptor: pipe.write.number)
    let log = Logger(label: "x", factory: { _ in handler })
    log.info("first")
    log.warning("second", metadata: ["b": "2", "a": "x \"y\""])
    log.error("third")
    log.debug("hidden")
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = try pipe.read.read(into: &buffer)
    let lines = String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
    try #require(lines.count == 3)
    let head = #"\d{4} \d{2}:\d{2}:\d{2}\.\d{6} {1,7}\d+ KlogHandlerTests\.swift:\d+\] "#
    #expect(try Regex("^I" + head + "first$").firstMatch(in: lines[0]) != nil)
    #expect(try Regex("^W" + head + #"second a="x \\"y\\"" b="2"$"#).firstMatch(in: lines[1]) != nil)
    #expect(try Regex("^E" + head + "third$").firstMatch(in: lines[2]) != nil)
    #expect(lines[0].contains(" \(getpid()) "))
  }

  @Test func fieldsArePaddedAndLocal() {
    var seconds = time_t(1_700_000_000)
    var local = tm()
    localtime_r(&seconds, &local)
    var text = [CChar](repeating: 0, count: 64)
    strftime(&text, 64, "I%m%d %H:%M:%S.000042", &local)
    let stamp = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    let line = KlogHandler.line(
      level: .info, nanoseconds: 1_700_000_000_000_042_999, process: 12, file: "A/B.swift", line: 3, message: "m")
    #expect(line == stamp + "      12 B.swift:3] m\n")
  }

  @Test func verbositySelectsLevels() {
    #expect(KlogHandler(verbosity: 0).logLevel == .info)
    #expect(KlogHandler(verbosity: 1).logLevel == .info)
    #expect(KlogHandler(verbosity: 2).logLevel == .debug)
    #expect(KlogHandler(verbosity: 4).logLevel == .trace)
  }

  @Test func writingToAClosedReaderIsHarmless() throws {
    let pipe = try Pipe()
    let writer = FileDescriptor(adopting: dup(pipe.write.number))
    _ = consume pipe
    signal(SIGPIPE, SIG_IGN)
    let handler = KlogHandler(descriptor: writer.number)
    Logger(label: "x", factory: { _ in handler }).info("lost")
  }
}
