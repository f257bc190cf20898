import CLinux
import Glibc
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// Network namespaces; the oracle is `ip netns`.
@Suite(.needsRoot) struct NetlinkNamespaceTests {
  private func unusedPath() -> String { "/run/netns/weft-t-ns-\(getpid())-\(UInt32.random(in: 0 ... .max))" }

  @Test func createsOpensAndRemoves() throws {
    let path = unusedPath()
    let name = Files.split(path).name
    try NetworkNamespace.create(path: path)
    defer { try? NetworkNamespace.remove(path: path) }
    let again = #expect(throws: SystemError.self) { try NetworkNamespace.create(path: path) }
    #expect(again?.errno == .exists)

    let ns = try NetworkNamespace(path: path)
    let host = try NetworkNamespace.current()
    let reopened = try NetworkNamespace(path: path)
    #expect(try !ns.isSame(as: host) && ns.isSame(as: reopened))
    var socket = try RouteSocket(in: ns)
    let links = try socket.links()
    #expect(links.map(\.name) == ["lo"] && links.first?.isUp == false)
    #expect(socket.portID != 0)

    let listed = try ChildProcess.run("/usr/sbin/ip", ["netns", "list"]).text
    #expect(listed.split(separator: "\n").contains { $0.split(separator: " ").first == name[...] })
    #expect(try ChildProcess.run("/usr/sbin/ip", ["netns", "exec", name, "/usr/bin/true"]).exit.isSuccess)

    try NetworkNamespace.remove(path: path)
    #expect(!Files.exists(path))
    try NetworkNamespace.remove(path: path)
    #expect(try socket.links().count == 1, "an open socket keeps it alive")
  }

  @Test func removesWhatIPMadeAndTheOtherWayRound() throws {
    let path = unusedPath()
    let name = Files.split(path).name
    #expect(try ChildProcess.run("/usr/sbin/ip", ["netns", "add", name]).exit.isSuccess)
    try NetworkNamespace.remove(path: path)
    #expect(!Files.exists(path))
    try NetworkNamespace.create(path: path)
    #expect(try ChildProcess.run("/usr/sbin/ip", ["netns", "del", name]).exit.isSuccess)
    #expect(!Files.exists(path))
  }

  @Test func worksInOtherDirectories() throws {
    let directory = try TemporaryDirectory("netns")
    let path = directory.file("deep/er/ns1")
    try NetworkNamespace.create(path: path)
    _ = try NetworkNamespace(path: path)
    try NetworkNamespace.remove(path: path)
    #expect(!Files.exists(path) && Files.isDirectory(directory.file("deep/er")))
  }

  @Test func refusesWhatIsNoNetworkNamespace() throws {
    let directory = try TemporaryDirectory("netns")
    let file = try directory.write("precious", to: "file")
    for path in [file, "/proc/self/ns/mnt", "/proc/self/ns/uts", "/dev/null", directory.path] {
      let error = #expect(throws: SystemError.self) { _ = try NetworkNamespace(path: path) }
      #expect(error?.errno == .invalid, "\(path)")
    }
    #expect(throws: SystemError.self) { _ = try NetworkNamespace(path: directory.file("missing")) }
    let refusal = #expect(throws: SystemError.self) { try NetworkNamespace.remove(path: file) }
    #expect(refusal?.errno == .invalid)
    #expect(try Files.text(file) == "precious")
    #expect(throws: SystemError.self) { try NetworkNamespace.remove(path: "/proc/self/ns/mnt") }
    let leftover = try directory.write("", to: "leftover", mode: 0)
    try NetworkNamespace.remove(path: leftover)
    #expect(!Files.exists(leftover), "what a killed `create` leaves can be removed")
  }

  @Test func runsOnAThrowAwayThread() throws {
    let ns = try TestNamespace("run")
    let namespace = try ns.open()
    let before = clinux_gettid()
    let (isInside, thread) = try namespace.run { () throws(SystemError) in
      let here = try NetworkNamespace.current()
      let there = try NetworkNamespace(path: ns.path)
      return (try here.isSame(as: there), clinux_gettid())
    }
    #expect(isInside && thread != before)
    let here = try NetworkNamespace.current()
    #expect(try !here.isSame(as: namespace), "the caller stays where it is")
    let error = #expect(throws: SystemError.self) {
      try namespace.run { () throws(SystemError) -> Int in throw SystemError("probe", "x", .busy) }
    }
    #expect(error == SystemError("probe", "x", .busy))
  }

  @Test func aForkedProgramEnters() throws {
    let ns = try TestNamespace("enter")
    let seen = try ns.run("/usr/bin/readlink", ["/proc/self/ns/net"]).text
    let inode = try Files.status(ns.path).inode
    #expect(seen == "net:[\(inode)]\n")
  }
}
