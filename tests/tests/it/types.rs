//! What can be moved and shared between threads.

use countersign_driver as driver;
use countersign_std as std_backend;
use countersign_tests::on_futures_io::Tasks;
use countersign_tokio as tokio_backend;

const fn is_send<T: Send>() {}
const fn is_shared<T: Send + Sync + 'static>() {}

const _: () = {
    is_shared::<driver::Link>();
    is_shared::<driver::Sender>();
    is_shared::<driver::Receiver>();
    is_shared::<driver::ManualReceiver>();
    is_shared::<driver::Delivery>();
    is_shared::<driver::Receipt>();
    is_shared::<driver::BatchReceipt>();
    is_shared::<driver::Setup>();
    is_shared::<driver::Report>();
    is_shared::<driver::LinkError>();
    is_shared::<driver::AcceptError>();
    is_shared::<driver::SendError>();
    is_shared::<driver::Connecting>();
    is_send::<driver::Driver<driver::NoDial<countersign_tests::memory::Wire>>>();
    is_shared::<countersign_smol::SecureStream<smol::net::TcpStream>>();
    is_shared::<tokio_backend::Listener>();
    is_shared::<std_backend::Listener>();
    is_shared::<std_backend::Link>();
    is_shared::<std_backend::Sender>();
    is_shared::<std_backend::Receiver>();
    is_shared::<std_backend::ManualReceiver>();
    is_shared::<std_backend::Receipt>();
    is_shared::<std_backend::BatchReceipt>();
};

/// Futures can be awaited in tasks that move between threads.
#[test]
fn futures_are_send() {
    fn check<T: Send>(_: &T) {}
    fn of(link: &driver::Link, sender: &driver::Sender, receiver: &mut driver::Receiver) {
        check(&sender.send("x"));
        check(&receiver.recv());
        check(&link.event());
        check(&link.ended());
        check(&link.close(countersign_core::CloseMode::Drain));
    }
    fn of_backend(setup: &driver::Setup, listener: &tokio_backend::Listener) {
        check(&tokio_backend::connect("127.0.0.1:1", setup));
        check(&listener.accept());
    }
    fn of_others(runtime: &Tasks, setup: &driver::Setup, streams: &driver::StreamSetup) {
        check(&countersign_smol::connect("127.0.0.1:1", setup));
        check(&countersign_smol::pair(setup, setup));
        check(&countersign_smol::secure_connect("127.0.0.1:1", streams));
        check(&countersign_async_std::connect("127.0.0.1:1", setup));
        check(&countersign_async_std::pair(setup, setup));
        check(&countersign_async_std::secure_connect(
            "127.0.0.1:1",
            streams,
        ));
        check(&countersign_futures_io::pair(runtime, setup, setup));
    }
    fn of_stream(mut stream: countersign_smol::SecureStream<smol::net::TcpStream>) {
        check(&stream.close());
        check(&stream);
    }
    let _ = (of, of_backend, of_others, of_stream);
}
