/// The fuzzer's entry: libFuzzer calls this with one input after another. The first byte chooses the decoder, the rest
/// is what it decodes; -1 tells libFuzzer to forget the input.
///
///     WEFT_FUZZ=1 swift build --scratch-path .build-fuzz
///     .build-fuzz/debug/fuzz -max_total_time=60 Fuzz/Corpus
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeBufferPointer(start: start, count: count)
  guard let choice = input.first, let decode = decoder(choice) else { return -1 }
  decode(Array(input.dropFirst()))
  return 0
}

/// Decoders of bytes from outside. A letter once given keeps its meaning: stored inputs depend on it.
private func decoder(_ choice: UInt8) -> (([UInt8]) -> Void)? {
  switch choice {
  case UInt8(ascii: "N"): fuzzNetlink
  case UInt8(ascii: "J"): fuzzJSON
  case UInt8(ascii: "C"): fuzzConfiguration
  case UInt8(ascii: "L"): fuzzLease
  case UInt8(ascii: "P"): fuzzCNI
  case UInt8(ascii: "I"): fuzzIptables
  case UInt8(ascii: "K"): fuzzKubernetes
  case UInt8(ascii: "Y"): fuzzKubeconfig
  default: nil
  }
}
