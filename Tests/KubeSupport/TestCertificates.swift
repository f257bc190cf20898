import Syscalls
import TestSupport

/// A certificate authority with a server and a client certificate, made with `openssl` for one test run.
public final class TestCertificates: Sendable {
  /// openssl did not do it.
  public struct Failure: Error, CustomStringConvertible {
    /// Its arguments and what it said.
    public let description: String
  }

  private let directory: TemporaryDirectory

  /// - Parameters:
  ///   - names: of the server, as openssl writes them: `IP:127.0.0.1`, `DNS:localhost`.
  ///   - days: that the server's certificate is valid; negative = it has expired.
  public init(names: [String] = ["IP:127.0.0.1", "DNS:localhost", "DNS:kubernetes"], days: Int = 2) throws {
    directory = try TemporaryDirectory("certs")
    try openssl(["req", "-x509", "-out", authority, "-days", "3", "-subj", "/CN=test-ca"] + newKey("ca.key"))
    try sign("server", "/CN=kube-apiserver", "subjectAltName=\(names.joined(separator: ","))", days)
    try sign("client", "/O=system:nodes/CN=system:node:test", "extendedKeyUsage=clientAuth", 2)
  }

  /// Path of the authority's certificate.
  public var authority: String { directory.file("ca.crt") }
  /// Path of the server's certificate.
  public var server: String { directory.file("server.crt") }
  /// Path of the server's key.
  public var serverKey: String { directory.file("server.key") }
  /// Path of the client's certificate.
  public var client: String { directory.file("client.crt") }
  /// Path of the client's key.
  public var clientKey: String { directory.file("client.key") }

  private func newKey(_ name: String) -> [String] {
    ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", directory.file(name)]
  }

  private func sign(_ name: String, _ subject: String, _ extensions: String, _ days: Int) throws {
    let request = directory.file("\(name).csr")
    let options = try directory.write(extensions + "\n", to: "\(name).ext")
    try openssl(["req", "-new", "-out", request, "-subj", subject] + newKey("\(name).key"))
    try openssl([
      "x509", "-req", "-in", request, "-CA", authority, "-CAkey", directory.file("ca.key"), "-CAcreateserial",
      "-days", String(days), "-extfile", options, "-out", directory.file("\(name).crt"),
    ])
  }

  private func openssl(_ arguments: [String]) throws {
    let output = try ChildProcess.run("/usr/bin/openssl", arguments)
    guard output.exit.isSuccess else {
      throw Failure(description: "openssl \(arguments): \(output.exit): \(output.errorText)")
    }
  }
}
