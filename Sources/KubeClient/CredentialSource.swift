import KubeTypes
import NIOCore
import NIOPosix
import NIOSSL
import Syscalls

/// What a request needs to be accepted.
struct Credentials {
  /// The value of `Authorization`.
  var authorization: String?
  /// For encrypted connections.
  var tls: NIOSSLContext?
}

/// Who we are at this moment: tokens and certificates are read again when their files have changed, programs are asked
/// again when what they gave has expired or was refused. Use on the event loop.
final class CredentialSource {
  private let access: ClusterAccess
  private let loop: any NIOCore.EventLoop
  /// What TLS was last set up with, so that it is set up again only when something has changed.
  private var material: TLSMaterial?
  private var tls: NIOSSLContext?
  private var issued: ExecCredential?
  private var threads: NIOThreadPool?

  init(_ access: ClusterAccess, on loop: any NIOCore.EventLoop) {
    self.access = access
    self.loop = loop
  }

  deinit { threads?.shutdownGracefully { _ in } }

  /// The API server did not accept what we sent: a program is asked again.
  func wasRefused() { issued = nil }

  /// Calls back with what to use now; at once, unless a program has to be run.
  func current(_ done: @escaping (Result<Credentials, AccessError>) -> Void) {
    guard let plugin = access.identity.exec, !isFresh else {
      return done(Result { () throws(AccessError) in try make() })
    }
    let pool = threads ?? NIOThreadPool(numberOfThreads: 1)
    threads = pool
    pool.start()
    let access = self.access
    pool.runIfActive(eventLoop: loop) { Result { () throws(AccessError) in try plugin.run(access) } }
      .assumeIsolated().whenComplete { [weak self] result in
        guard let self else { return }
        switch result {
        case .success(.success(let credential)):
          issued = credential
          done(Result { () throws(AccessError) in try self.make() })
        case .success(.failure(let error)): done(.failure(error))
        case .failure: done(.failure(AccessError(place: plugin.file, "the client is stopped")))
        }
      }
  }

  /// With a little time to use it.
  private var isFresh: Bool {
    guard let issued else { return false }
    return issued.expiration.map { $0 > Clock.realtime() / 1_000_000_000 + 10 } ?? true
  }

  private func make() throws(AccessError) -> Credentials {
    var token = issued?.token
    if token == nil { token = try self.token() }
    return Credentials(
      authorization: token.map { "Bearer \($0)" }, tls: access.server.isEncrypted ? try context() : nil)
  }

  private func token() throws(AccessError) -> String? {
    guard let path = access.identity.tokenFile else { return access.identity.token }
    let text: [UInt8]
    do { text = try Files.read(path, limit: 1 << 20) } catch { throw AccessError(place: "token file", "\(error)") }
    let token = text.filter { $0 > 0x20 && $0 < 0x7f }
    guard !token.isEmpty else { throw AccessError(place: path, "the token file is empty") }
    return String(decoding: token, as: UTF8.self)
  }

  private func context() throws(AccessError) -> NIOSSLContext {
    var now = TLSMaterial()
    if case .authorities(let source) = access.trust { now.authorities = try source.read() }
    if let issued, issued.certificate != nil {
      (now.certificate, now.key) = (issued.certificate, issued.key)
    } else {
      now.certificate = try access.identity.certificate?.read()
      now.key = try access.identity.key?.read()
    }
    if let tls, now == material { return tls }
    let made = try now.context(access)
    tls = made
    material = now
    return made
  }
}

/// PEM texts that TLS is set up with.
private struct TLSMaterial: Hashable {
  var authorities: [UInt8]?
  var certificate: [UInt8]?
  var key: [UInt8]?

  func context(_ access: ClusterAccess) throws(AccessError) -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    configuration.applicationProtocols = ["http/1.1"]
    if access.trust == .anybody { configuration.certificateVerification = .none }
    if let authorities, case .authorities(let source) = access.trust {
      configuration.trustRoots = .certificates(try Self.certificates(authorities, source.place))
    }
    if let certificate, let key {
      let identity = access.identity
      configuration.certificateChain = try Self.certificates(
        certificate, identity.certificate?.place ?? "the certificate of the exec plugin"
      ).map { .certificate($0) }
      do { configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: key, format: .pem)) } catch {
        throw AccessError(
          place: identity.key?.place ?? "the key of the exec plugin", "expected an unencrypted private key in PEM")
      }
    }
    do { return try NIOSSLContext(configuration: configuration) } catch {
      throw AccessError(place: "TLS", "\(error)")
    }
  }

  private static func certificates(_ pem: [UInt8], _ place: String) throws(AccessError) -> [NIOSSLCertificate] {
    if let certificates = try? NIOSSLCertificate.fromPEMBytes(pem), !certificates.isEmpty { return certificates }
    throw AccessError(place: place, "expected certificates in PEM")
  }
}
