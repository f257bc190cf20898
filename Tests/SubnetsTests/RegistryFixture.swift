import Glibc
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import Subnets

/// A registry directory with the configuration of contract test-oracles §3, and what was said about it.
final class RegistryFixture {
  static let config = #"{"Network":"10.3.0.0/16","SubnetMin":"10.3.1.0","SubnetMax":"10.3.25.0"}"#
  let directory: TemporaryDirectory
  let path: String
  var said: [String] = []

  init(_ config: String = config) throws {
    directory = try TemporaryDirectory("registry")
    path = directory.file("reg")
    try configure(config)
  }

  lazy var registry = DirectoryRegistry(path: path) { [unowned self] in said.append($0) }
  lazy var watcher: Result<DirectoryWatcher, SystemError> = {
    do throws(SystemError) {
      return .success(try DirectoryWatcher(path: path) { [unowned self] in said.append($0) })
    } catch { return .failure(error) }
  }()

  func configure(_ config: String) throws { try directory.write(config, to: "reg/config") }

  /// Writes a lease file as another node would.
  func put(_ key: String, _ ip: String, mode: mode_t = 0o644, age hours: Int64 = 0) throws {
    try put(key, text: "{\"PublicIP\":\"\(ip)\",\"PublicIPv6\":null}", mode: mode, age: hours)
  }

  func put(_ key: String, text: String, mode: mode_t = 0o644, age hours: Int64 = 0) throws {
    try directory.write(text, to: "other")
    let file = "\(path)/subnets/\(key)"
    try Files.makeDirectory("\(path)/subnets")
    #expect(chmod(directory.file("other"), mode) == 0)
    age(directory.file("other"), hours)
    #expect(rename(directory.file("other"), file) == 0)
  }

  /// Sets the modification time so many hours back.
  func age(_ file: String, _ hours: Int64) {
    let seconds = Int(Clock.realtime() / 1_000_000_000 - hours * 3600)
    let times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
    #expect(utimensat(AT_FDCWD, file, times, 0) == 0)
  }

  func acquire(_ ip: String, previous: String? = nil) throws(RegistryError) -> Lease {
    try registry.acquire(
      Self.attributes(ip), configuration: try registry.configuration(),
      previous: PerFamily(ipv4: previous.flatMap { IPPrefix($0) }))
  }

  static func attributes(_ ip: String, type: String = "", ipv6: String? = nil) -> LeaseAttributes {
    LeaseAttributes(
      publicIPs: PerFamily(ipv4: IPAddress(ip), ipv6: ipv6.flatMap { IPAddress($0) }), backendType: type)
  }

  var keys: [String] { get throws { try Files.list("\(path)/subnets").sorted() } }
  func text(_ key: String) throws -> String { try Files.text("\(path)/subnets/\(key)") }
  /// Everything in DIR and DIR/.tmp that is not meant to stay.
  var leftovers: [String] {
    get throws {
      try Files.list(path).filter { !["config", "subnets", "lock", ".tmp"].contains($0) } + Files.list("\(path)/.tmp")
    }
  }
}
