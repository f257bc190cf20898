import KubeTypes
import NIOCore
import NIOPosix
import NIOSSL
import Syscalls

extension ServerURL {
  /// What a failure of NIO or TLS means to an operator.
  func explanation(of error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError: connection(error)
    case let error as IOError: Errno(rawValue: error.errnoCode).description
    case ChannelError.connectTimeout(let time): "no connection within \(time.nanoseconds / 1_000_000_000) s"
    case NIOSSLError.handshakeFailed(let cause): handshake("\(cause)")
    case let error as NIOSSLExtraError where error == .failedToValidateHostname:
      "its certificate is for other names than \(host); set tls-server-name, or use one of its names"
    default: "\(error)"
    }
  }

  private func connection(_ error: NIOConnectionError) -> String {
    if let failure = error.connectionErrors.last { return explanation(of: failure.error) }
    if error.dnsAError != nil || error.dnsAAAAError != nil { return "the name \(host) has no address" }
    return "no connection"
  }

  private func handshake(_ cause: String) -> String {
    func mentions(_ text: StaticString) -> Bool { cause.hasWord(text) }
    if mentions("CERTIFICATE_VERIFY_FAILED") {
      return "its certificate is not signed by the authorities we have, or not valid now; "
        + "compare the CA, and the clock, which says \(Timestamp.text(Clock.realtime() / 1_000_000_000))"
    }
    if mentions("WRONG_VERSION_NUMBER") || mentions("HTTP_REQUEST") { return "it does not speak TLS; is it http://?" }
    if mentions("CERTIFICATE_REQUIRED") || mentions("UNKNOWN_CA") || mentions("BAD_CERTIFICATE") {
      return "it does not accept our client certificate"
    }
    return "TLS: \(cause)"
  }
}

extension String {
  /// Whether an ASCII text occurs; `contains` would bring the regular expressions along.
  func hasWord(_ word: StaticString) -> Bool {
    let bytes = Array(utf8)
    let count = word.utf8CodeUnitCount
    guard count <= bytes.count else { return false }
    for start in 0...bytes.count - count {
      var i = 0
      while i < count, unsafe bytes[start + i] == word.utf8Start[i] { i += 1 }
      if i == count { return true }
    }
    return false
  }
}
